"""How fast Tandem is, beside the tools one would use without it. See README.md."""
