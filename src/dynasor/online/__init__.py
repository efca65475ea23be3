"""Online experiments in virtual time: workloads, systems, runs, and what is measured of them."""
