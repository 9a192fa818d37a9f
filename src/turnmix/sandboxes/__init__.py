"""Where an agent's commands run: isolated, limited, and gone at the end."""
