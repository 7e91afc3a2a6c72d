"""The demo's shop: a small site with a banner of its own, a chat, a newsletter, and everything Sayso does for them."""
