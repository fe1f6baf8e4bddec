"""What nights have measured, kept night by night, and where their numbers changed."""
