"""Frozen view models: what front ends and reports see. No room of the engine is needed to read one."""
