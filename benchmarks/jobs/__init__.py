"""The jobs of workloads.py: what each contender does from the start of its process to its result."""
