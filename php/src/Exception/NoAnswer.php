<?php

declare(strict_types=1);

namespace Wsgate\Exception;

/** The request went out, but no whole answer came in time. It may have been done, or not. */
final class NoAnswer extends GatewayException
{
}
