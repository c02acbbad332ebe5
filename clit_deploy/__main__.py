"""`python -m clit_deploy` is the same as `clit-deploy`."""

from clit_deploy.cli import main

if __name__ == "__main__":
    main()
