"""Files of other people's layouts."""
