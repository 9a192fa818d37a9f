"""Is a difference between two students more than luck? Measurements in; difference, interval and p-value out."""
