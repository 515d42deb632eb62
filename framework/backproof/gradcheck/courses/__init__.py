"""The layers of deep learning courses: right references, and the mistakes that are commonly made in them."""
