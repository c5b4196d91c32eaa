"""The work of each job: a step and the tools in, an outcome out. Nothing here decides whether it should run."""
