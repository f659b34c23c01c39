<?php

declare(strict_types=1);

namespace Wsgate;

/** What happened on the connection: the values of WSGATE_EVENT. */
enum EventType: string
{
    case Connect = 'connect';
    case Message = 'message';
    case Disconnect = 'disconnect';
}
