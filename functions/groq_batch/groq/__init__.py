"""Client of the Groq API; no other package calls it."""
