"""The machine: files, locks, signals, the device, the console and what is installed."""
