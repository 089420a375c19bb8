"""What a site checks before it joins: certificates, server, link, machine, data and policies, each with its fix."""
