"""What an evaluation costs beside other simulators."""
