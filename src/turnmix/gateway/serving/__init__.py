"""The gateway's HTTP: sessions behind keys, requests in, answers out."""
