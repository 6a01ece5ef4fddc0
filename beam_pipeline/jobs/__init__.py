"""The Beam jobs; besides the entries the only place that imports apache_beam."""
