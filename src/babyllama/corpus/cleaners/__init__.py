"""The cleaners: small named rules, a list of them a source, and what each did."""
