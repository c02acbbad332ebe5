"""Continuous zoom in a browser: `clit-deploy view`, and `clit_deploy.view` in a notebook."""
