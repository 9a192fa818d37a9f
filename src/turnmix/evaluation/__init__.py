"""Evaluation at beta = 0, with intervals, and its reports."""
