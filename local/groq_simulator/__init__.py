"""A simulator of the Groq Files and Batch API with faults on demand; loopback only.

In a test: `with GroqSimulator(batch_seconds=0.2) as simulator: ... simulator.url ...`.
As a process: `python -m local.groq_simulator --port 0 --port-file FILE`, controlled through
`SimulatorControl(url)`. README.md describes rules, fates and faults.
"""

from local.groq_simulator.control import ControlError, ControlOperations, SimulatorControl
from local.groq_simulator.server import GroqSimulator
from local.groq_simulator.settings import DEFAULT_KEY, Settings

__all__ = [
    "DEFAULT_KEY",
    "ControlError",
    "ControlOperations",
    "GroqSimulator",
    "Settings",
    "SimulatorControl",
]
