"""After a leak: verify, contain, reissue, distribute, revoke, clean, prove; resumable after every step."""
