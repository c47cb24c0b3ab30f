"""The interpreter of the shipped state machine; tests give it a virtual clock, `bench` a real one."""
