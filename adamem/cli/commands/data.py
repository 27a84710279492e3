"""`adamem data list | show | fetch | check | import`."""
