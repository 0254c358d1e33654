"""A plugin of pytest (``-p accelerated``) that runs tests of scanpy with csrnorm in it."""

import csrnorm

csrnorm.accelerate_scanpy()
