# worker placeholder
