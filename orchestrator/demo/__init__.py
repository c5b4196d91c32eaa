"""The demonstration, in var/demo: two tenants' data backed up, copied, proven, damaged on purpose and reported."""
