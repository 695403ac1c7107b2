"""Pure logic: arguments in, values out. No I/O, no threads, no clock, no logging, no environment."""
