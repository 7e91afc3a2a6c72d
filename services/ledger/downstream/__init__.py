"""What other systems are told and what they answer: triggers, and the deliveries that carry them and other messages."""
