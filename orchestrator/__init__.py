"""Run and remember. The only imperative package; the one clock lives here."""
