"""Faults, retries, hosts and files: no noun of the field lives here."""
