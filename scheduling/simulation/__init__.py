"""Simulator: the policies of production on traces of devices and jobs. Pure: no Django."""
