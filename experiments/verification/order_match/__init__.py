"""Order, number of known results and time: really slept against simulated."""
