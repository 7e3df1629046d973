"""What draws: matplotlib, or nothing but a record of the calls."""
