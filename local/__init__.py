"""The project on one machine: the Groq simulator, the emulated AWS and the demo."""
