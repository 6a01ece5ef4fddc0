"""The plan of a job before it is launched: its work, its time and its bill."""
