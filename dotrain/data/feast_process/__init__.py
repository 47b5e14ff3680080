"""What runs in the process that asks a Feast repository: `describing` what is declared, and the `join` by Feast itself."""
