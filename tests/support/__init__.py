"""What several tests use: servers, stand-ins, samples, and programs that are unpacked for a run."""
