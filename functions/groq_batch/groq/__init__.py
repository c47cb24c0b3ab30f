"""The only code that talks to the Groq API."""
