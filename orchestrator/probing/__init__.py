"""Looking at thousands of things from one event loop, in time; and knowing when it is oneself who cannot see."""
