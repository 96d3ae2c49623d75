"""The app of motionpatches on a Hugging Face Space. The variables in README.md say what it loads."""

import os
from contextlib import suppress

from motionpatches.training.app import LOCAL_HOST, MAX_UPLOAD_MB, private_uploads, serving
from motionpatches.training.app_space import space_page, upload_limit


def main() -> None:
    limit = MAX_UPLOAD_MB
    with suppress(ValueError):  # of which the page tells
        limit = upload_limit(os.environ)
    host, port = os.environ.get("GRADIO_SERVER_NAME", LOCAL_HOST), os.environ.get("GRADIO_SERVER_PORT")
    with private_uploads():
        page = space_page(os.environ)
        with serving(page, host, None if port is None else int(port), limit) as address:
            print(f"the app is at {address}", flush=True)
            page.block_thread()


if __name__ == "__main__":
    main()
