"""What files of a run have to hold before they are read on, whoever wrote them."""
