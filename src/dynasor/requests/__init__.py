"""The body of a request as a program, and the end of a program as a response."""
