"""What two processes, or an outside auditor, must agree on byte for byte. Imports nothing of ours."""
