"""What a controller states of its deadlines, its authority and its promises."""
