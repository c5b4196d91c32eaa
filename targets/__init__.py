"""Touch. One module, one outside thing; adapters never know each other."""
