"""What people do, one file for each verb; each is a function."""
