"""What becomes of an index whose vectors are the old encoder's when the queries come from the adapted one."""
