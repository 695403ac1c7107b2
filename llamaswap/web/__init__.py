"""HTTP routes and answers: requests in, responses out; never a socket, a process or a lock."""
