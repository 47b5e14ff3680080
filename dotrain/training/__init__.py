"""What runs beside the user's function, on whatever worker it runs."""
